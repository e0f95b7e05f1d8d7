//! The rules of the core, one sentence each.

mod rules {
    mod cancel;
    mod deadlines;
    mod deaths;
    mod ending;
    mod halt;
    mod kit;
    mod lanes;
    mod lending;
    mod recall;
    mod recycling;
    mod resize;
    mod restarts;
    mod retries;
    mod splits;
    mod takeback;
    mod unkillable;
}
