//! Values in numbered places, found by a key that goes stale with its value.
//!
//! Knows nothing of what it holds. A place is used again after its value has gone, under a new generation, so a key
//! somebody still keeps finds nothing instead of a stranger.

use std::fmt;

/// Where a value is in a [`Slab`]: eight bytes, valid until that value is removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

/// A collection that chooses the keys, with every operation on a key in constant time.
///
/// Places are reused, last freed first, and kept: memory follows the most values there ever were at once.
///
/// ```
/// use ebbtide::storage::Slab;
///
/// let mut slab = Slab::new();
/// let old = slab.insert("ebb");
/// assert_eq!(slab.remove(old), Some("ebb"));
/// let new = slab.insert("flood");
/// assert_eq!((slab.get(old), slab.get(new)), (None, Some(&"flood")));
/// ```
pub struct Slab<T> {
    places: Vec<Place<T>>,
    /// The places without a value that may be used again.
    vacant: Vec<u32>,
    len: usize,
}

struct Place<T> {
    /// Of the value that is here, or of the next one.
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// An empty slab. Takes no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { places: Vec::new(), vacant: Vec::new(), len: 0 }
    }

    /// Puts a value in and says under which key.
    ///
    /// # Panics
    ///
    /// With four billion values inside.
    pub fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// Puts a value in that knows its own key.
    ///
    /// # Panics
    ///
    /// With four billion values inside.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        self.len += 1;
        if let Some(index) = self.vacant.pop() {
            let place = &mut self.places[index as usize];
            let key = Key { index, generation: place.generation };
            place.value = Some(make(key));
            return key;
        }
        let Ok(index) = u32::try_from(self.places.len()) else { panic!("a slab with 2^32 places") };
        let key = Key { index, generation: 0 };
        self.places.push(Place { generation: 0, value: Some(make(key)) });
        key
    }

    /// Takes the value out. `None` if it has been taken before.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        self.len -= 1;
        // A place whose generations are used up stays vacant for ever, so that no key ever becomes valid again.
        if let Some(next) = place.generation.checked_add(1) {
            place.generation = next;
            self.vacant.push(key.index);
        }
        Some(value)
    }

    /// The value under this key, unless it has been removed.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        if place.generation == key.generation { place.value.as_ref() } else { None }
    }

    /// The value under this key, to be changed, unless it has been removed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation == key.generation { place.value.as_mut() } else { None }
    }

    /// Whether the value under this key is still here.
    #[must_use]
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All values with their keys, in the order of their places: the same order whenever the same was done before.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0u32..).zip(&self.places).filter_map(|(index, place)| {
            let value = place.value.as_ref()?;
            Some((Key { index, generation: place.generation }, value))
        })
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Slab<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stale_key_does_not_find_the_next_value_in_its_place() {
        let mut slab = Slab::new();
        let old = slab.insert('a');
        slab.remove(old);
        let new = slab.insert('b');
        assert_eq!(old.index, new.index);
        assert_eq!(slab.get(old), None);
        assert_eq!(slab.get_mut(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.get_mut(new), Some(&mut 'b'));
    }

    #[test]
    fn a_place_with_its_generations_used_up_is_never_used_again() {
        let mut slab = Slab::new();
        let key = slab.insert('a');
        slab.places[0].generation = u32::MAX;
        let last = Key { generation: u32::MAX, ..key };
        assert_eq!(slab.remove(last), Some('a'));
        assert_eq!((slab.insert('b').index, slab.contains(last)), (1, false));
    }

    #[test]
    fn values_are_listed_in_the_order_of_their_places() {
        let mut slab = Slab::new();
        let keys = ['a', 'b', 'c'].map(|value| slab.insert(value));
        slab.remove(keys[1]);
        assert_eq!(format!("{slab:?}"), "{0.0: 'a', 2.0: 'c'}");
        slab.insert('d');
        assert_eq!(slab.iter().map(|(_, value)| *value).collect::<String>(), "adc");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 5 } else { 256 }))]

        #[test]
        fn behaves_like_a_map_that_chooses_its_keys(steps in vec((any::<bool>(), any::<prop::sample::Index>()), 1..300)) {
            let mut slab = Slab::new();
            let mut model: HashMap<Key, usize> = HashMap::new();
            let mut given: Vec<Key> = Vec::new();
            for (value, (insert, which)) in steps.into_iter().enumerate() {
                if insert || given.is_empty() {
                    let key = slab.insert(value);
                    prop_assert_eq!(model.insert(key, value), None, "a key was given out twice");
                    given.push(key);
                } else {
                    let key = given[which.index(given.len())];
                    prop_assert_eq!(slab.remove(key), model.remove(&key));
                }
                for key in &given {
                    prop_assert_eq!(slab.get(*key), model.get(key));
                    prop_assert_eq!(slab.contains(*key), model.contains_key(key));
                }
                prop_assert_eq!((slab.len(), slab.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(slab.iter().count(), model.len());
            }
        }
    }
}
