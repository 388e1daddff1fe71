//! Collects: intake, live state, store, API, realtime, and the dashboard's assets.
