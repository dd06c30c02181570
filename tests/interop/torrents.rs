//! Torrents to exchange, made by libtorrent: a folder for the seed with the content, one for the leech without.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::peer::Peer;

/// A generated torrent; the folders go when it goes.
pub struct Torrent {
    seed: TempDir,
    leech: TempDir,
}

/// Makes a torrent of so many bytes of the test pattern.
pub async fn make(bytes: u64) -> Torrent {
    let torrent = Torrent { seed: TempDir::new().unwrap(), leech: TempDir::new().unwrap() };
    let mut maker = Peer::libtorrent(&["make", torrent.seed_dir(), &bytes.to_string()]).unwrap();
    maker.wait_for("done", Duration::from_secs(30)).await.unwrap();
    std::fs::copy(torrent.seed.path().join("content.torrent"), torrent.leech.path().join("content.torrent"))
        .unwrap();
    torrent
}

impl Torrent {
    pub fn seed_dir(&self) -> &str {
        as_str(self.seed.path())
    }

    pub fn leech_dir(&self) -> &str {
        as_str(self.leech.path())
    }
}

fn as_str(path: &Path) -> &str {
    path.to_str().expect("the temporary folder has a name in UTF-8")
}
