//! `/api/bucket/:id/data/…`: what servers reported, in the shapes that PM2's client knows.

pub mod shape;
