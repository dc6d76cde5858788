//! The table of `sdk`, cell by cell: what each way in sees, repeats and hears of DNS.

#[cfg(test)]
mod ways {
    mod bare;
    mod caller;
    mod errors;
    mod hyper;
    mod judged;
    mod middleware;
    mod over;
    mod proxied;
    mod uploads;
    mod world;
}
