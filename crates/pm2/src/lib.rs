//! Speaks PM2: pure codecs of everything that PM2 shows to the outside.
