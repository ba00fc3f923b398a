//! Tests of impact: which precision queries get, which SQL they give, and whether it finds every key.

mod arbitrary;
mod cases;
mod differential;
mod plans;
mod queries;
mod real;
mod world;
