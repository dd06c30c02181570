//! The sending half as a connection sees it: written, sent, acknowledged.
