//! Tests of impact: which precision queries get, which SQL they give, and whether it finds every key.

mod queries;
mod world;
