//! What spans crates. Compiles the README's example.
#![doc = include_str!("../../README.md")]

pub mod adapters;
