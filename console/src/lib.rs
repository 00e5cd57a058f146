//! The console: what operators see of an engine, and steer it with.
