//! Tests of sevenhops around real SDKs and real servers; there is nothing else in here. They stand in a
//! package of their own so that what they need does not burden the library's builds.
