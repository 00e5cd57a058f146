//! The pages in a real browser: what they look like to it, what clicks do, and what they let in.

#![expect(clippy::unwrap_used, reason = "a test ends where its house does not stand")]

mod deeds;
mod driver;
mod hostile;
mod house;
mod keys;
mod live;
mod pages;
mod picture;
mod roles;
mod wire;
