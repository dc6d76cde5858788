//! Macros that open spans and record their fields, for `tracing` and OpenTelemetry alike.
//!
//! The value of a field is computed only if the span is enabled.

/// Opens a span: by a [`Maker`](super::Maker), or like another span, `within:` its scope or directly `below:` it.
macro_rules! open {
    (within: $span:expr, $at:expr, $($said:tt)*) => {
        match $span {
            Span::Tracing(span) => {
                // In a task of its own, without a current span, the parent is that span.
                let alone = !span.is_disabled() && tracing::Span::current().is_none();
                let _below = alone.then(|| span.enter());
                $crate::telemetry::macros::traced!((), $at, $($said)*)
            }
            #[cfg(feature = "otel")]
            Span::Direct(span) => Span::Direct(span.within(
                $at,
                $crate::telemetry::macros::named!($($said)*),
                $crate::telemetry::macros::told!($($said)*),
            )),
        }
    };
    (below: $span:expr, $at:expr, $($said:tt)*) => {
        match $span {
            Span::Tracing(span) => $crate::telemetry::macros::traced!((parent: span,), $at, $($said)*),
            #[cfg(feature = "otel")]
            Span::Direct(span) => Span::Direct(span.child(
                $at,
                $crate::telemetry::macros::named!($($said)*),
                $crate::telemetry::macros::told!($($said)*),
            )),
        }
    };
    ($maker:expr, $at:expr, $($said:tt)*) => {
        match $maker {
            Maker::Tracing => $crate::telemetry::macros::traced!((), $at, $($said)*),
            #[cfg(feature = "otel")]
            Maker::Direct(spans) => Span::Direct(spans.open(
                $at,
                $crate::telemetry::macros::named!($($said)*),
                $crate::telemetry::macros::told!($($said)*),
            )),
        }
    };
}

/// Records more fields on a span.
macro_rules! record {
    ($span:expr, $($key:literal = $value:expr),+ $(,)?) => {
        match $span {
            Span::Tracing(span) => {
                tracing::record_all!(span, $($key = $value),+);
            }
            #[cfg(feature = "otel")]
            Span::Direct(span) => span.record(|span| span$(.say($key, $value))+),
        }
    };
}

/// Adds an event to a span.
macro_rules! event {
    ($span:expr, $level:expr, $name:literal $(, $key:literal = $value:expr)* $(,)?) => {
        match $span {
            Span::Tracing(span) => tracing::event!(
                target: TARGET,
                parent: span,
                $level,
                { $($key = $value),* },
                $name
            ),
            #[cfg(feature = "otel")]
            Span::Direct(span) => {
                span.event($name, || $crate::telemetry::macros::told!($name $(, $key = $value)*));
            }
        }
    };
}

/// Opens a `tracing` span, which reads its own clock.
macro_rules! traced {
    (
        ($($parent:tt)*), $at:expr,
        $name:literal $(, named: $named:expr)? $(, $key:literal = $value:expr)* $(,)?
    ) => {{
        let _ = || $at;
        Span::Tracing(tracing::info_span!(
            target: TARGET,
            $($parent)*
            $name
            $(, "otel.name" = &*$named)?
            $(, $key = $value)*
        ))
    }};
}

/// The name of a span in OpenTelemetry.
#[cfg(feature = "otel")]
macro_rules! named {
    ($name:literal, named: $named:expr, $($said:tt)*) => {
        $named
    };
    ($name:literal, $($said:tt)*) => {
        std::borrow::Cow::Borrowed($name)
    };
}

/// The attributes of a span or an event in OpenTelemetry.
#[cfg(feature = "otel")]
macro_rules! told {
    ($name:literal $(, named: $named:expr)? $(, $key:literal = $value:expr)* $(,)?) => {{
        const KEYS: &[&str] = &[$($key),*];
        $crate::telemetry::otel::OtelAttributes::with_room(KEYS.len())$(.say($key, $value))*
    }};
}

pub(super) use {event, open, record, traced};
#[cfg(feature = "otel")]
pub(super) use {named, told};
