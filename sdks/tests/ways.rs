//! Tests the table of `sdk`, cell by cell, with real SDKs.

#[cfg(test)]
mod ways {
    #[path = "../../examples/upload/connector.rs"]
    mod connector;
    mod kube;
    mod object_store;
    mod octocrab;
    mod openai;
    mod operation;
    mod services;
    #[path = "../../../tests/sockets/adapters/world.rs"]
    mod world;
}
