//! Getters of configs. The setters have the plain names, so the getters begin with `get`, as those of
//! [`std::process::Command`] do.

/// Writes the getters of a config.
macro_rules! getters {
    ($($get:ident($field:ident) -> $type:ty = |$config:ident| $value:expr;)*) => {$(
        #[doc = concat!("Returns [`", stringify!($field), "`](Self::", stringify!($field), "), as set or by default.")]
        #[must_use]
        pub fn $get(&self) -> $type {
            let $config = self;
            $value
        }
    )*};
}

pub(crate) use getters;
