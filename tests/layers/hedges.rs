//! Tests hedges: when a slow call is sent a second time, which attempt wins, and what the others leave behind.

mod below;
mod cancelling;
mod delays;
mod ends;
mod failing;
mod load;
mod places;
mod rules;
mod service;
mod tail;
