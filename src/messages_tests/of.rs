//! The sentences of types that only their own module can make.
//!
//! A module lists them with `list!(NotKept: super::NotKept)` in its tests. The trait carries them here.

/// A type's name, and its sentences.
pub(crate) trait Sentences {
    fn sentences() -> Vec<String>;
}

macro_rules! list {
    ($name:ident: $($value:expr),+ $(,)?) => {
        impl $crate::messages_tests::Sentences for $crate::messages_tests::of::$name {
            fn sentences() -> Vec<String> {
                vec![$($value.to_string()),+]
            }
        }
    };
}

pub(crate) use list;

/// Passes the names of all these types to a macro.
macro_rules! with_names {
    ($then:ident) => {
        $then!(
            Abandoned,
            AddressDenied,
            AlreadyFailed,
            Dropped,
            GivenUp,
            InjectedFault,
            MalformedReply,
            Negative,
            NoRoots,
            NoRuntime,
            NoServer,
            NoSlot,
            NoValidator,
            NotAResponse,
            NotJson,
            NotKept,
            Panicked,
            Refused,
            Rejection,
            RejectionCause,
            StoreFailure,
            Unfit,
            Unreadable,
            Unseen,
            Unsupported,
            Unusable,
            Withheld,
        );
    };
}

macro_rules! declare {
    ($($name:ident),+ $(,)?) => {
        $(
            #[derive(Debug)]
            pub(crate) struct $name;
        )+
    };
}

with_names!(declare);
