//! Compiles the README's example.
#![doc = include_str!("../../README.md")]
