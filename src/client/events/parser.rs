//! Reads server-sent events from bytes (WHATWG HTML, section 9.2.6).

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use super::ServerSentEvent;

/// The lines of a stream, and the event that they have described so far.
pub(super) struct Parser {
    /// The bytes after the last line end.
    unread: BytesMut,
    /// The length of the beginning of `unread` that has no line end.
    searched: usize,
    /// The last line ended with CR: an LF that follows belongs to it.
    is_after_cr: bool,
    is_first_line: bool,
    data: String,
    event_type: String,
    /// The id that the next empty line makes the last one.
    id: String,
    last_event_id: String,
    reconnection_time: Option<Duration>,
    most_bytes: usize,
}

/// An event is longer than the caller accepts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventTooLarge;

impl Parser {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            unread: BytesMut::new(),
            searched: 0,
            is_after_cr: false,
            is_first_line: true,
            data: String::new(),
            event_type: String::new(),
            id: String::new(),
            last_event_id: String::new(),
            reconnection_time: None,
            most_bytes,
        }
    }

    pub(super) fn feed(&mut self, piece: &Bytes) {
        self.unread.extend_from_slice(piece);
    }

    pub(super) fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    pub(super) const fn reconnection_time(&self) -> Option<Duration> {
        self.reconnection_time
    }

    /// Returns the next event; `None` if more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<ServerSentEvent>, EventTooLarge> {
        while let Some(line) = self.line() {
            self.check(line.len())?;
            if line.is_empty() {
                if let Some(event) = self.dispatch() {
                    return Ok(Some(event));
                }
            } else {
                self.field(&line);
            }
        }
        self.check(self.unread.len())?;
        Ok(None)
    }

    /// Takes the next whole line, without its end: CR, LF, or both.
    fn line(&mut self) -> Option<BytesMut> {
        if self.is_after_cr && !self.unread.is_empty() {
            self.is_after_cr = false;
            if self.unread[0] == b'\n' {
                self.unread.advance(1);
            }
        }
        let unsearched = &self.unread[self.searched..];
        let Some(at) = unsearched.iter().position(|byte| b"\r\n".contains(byte)) else {
            self.searched = self.unread.len();
            return None;
        };
        let mut line = self.unread.split_to(self.searched + at);
        self.is_after_cr = self.unread.get_u8() == b'\r';
        self.searched = 0;
        if std::mem::take(&mut self.is_first_line) && line.starts_with(BYTE_ORDER_MARK) {
            line.advance(BYTE_ORDER_MARK.len());
        }
        Some(line)
    }

    /// Checks the length of the event with a line that is added to it.
    fn check(&self, line: usize) -> Result<(), EventTooLarge> {
        match self.data.len().saturating_add(line) > self.most_bytes {
            true => Err(EventTooLarge),
            false => Ok(()),
        }
    }

    fn field(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => value.clone_into(&mut self.event_type),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                let millis = value.parse().ok();
                self.reconnection_time =
                    millis.map(Duration::from_millis).or(self.reconnection_time);
            }
            // A comment, which has no name, or a field that the standard does not know.
            _ => {}
        }
    }

    /// Ends an event. One without data is not an event, but its id counts.
    fn dispatch(&mut self) -> Option<ServerSentEvent> {
        self.id.clone_into(&mut self.last_event_id);
        let event_type = std::mem::take(&mut self.event_type);
        let mut data = std::mem::take(&mut self.data);
        data.pop()?;
        Some(ServerSentEvent {
            event_type: match event_type.is_empty() {
                true => "message".to_owned(),
                false => event_type,
            },
            data,
            last_event_id: self.last_event_id.clone(),
        })
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    /// The type, the data and the last id of an event.
    type Read = (String, String, String);

    /// Reads a stream that comes in pieces of this length.
    fn read(stream: &[u8], length: usize) -> Vec<Read> {
        let mut parser = Parser::new(1_000);
        let mut events = Vec::new();
        for piece in stream.chunks(length) {
            parser.feed(&Bytes::copy_from_slice(piece));
            while let Some(event) = parser.next().unwrap() {
                events.push((event.event_type, event.data, event.last_event_id));
            }
        }
        events
    }

    #[test]
    fn stream_is_read_as_the_standard_says_wherever_it_is_split() {
        for (stream, expected) in [
            // The examples of the standard.
            (&b"data: YHOO\ndata: +2\ndata: 10\n\n"[..], &[("message", "YHOO\n+2\n10", "")][..]),
            (
                b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
                &[
                    ("message", "first event", "1"),
                    ("message", "second event", ""),
                    ("message", " third event", ""),
                ],
            ),
            (b"data\n\ndata\ndata\n\ndata:", &[("message", "", ""), ("message", "\n", "")]),
            (b"data:test\n\ndata: test\n\n", &[("message", "test", ""), ("message", "test", "")]),
            // The other line ends, alone and mixed.
            (b"data: a\r\rdata: b\r\n\r\ndata: c\n\r", &[("message", "a", ""), ("message", "b", ""), ("message", "c", "")]),
            (b"data: a\r\ndata: b\r\n\r\n", &[("message", "a\nb", "")]),
            // A mark at the beginning, and text that is not UTF-8.
            (b"\xef\xbb\xbfdata: caf\xc3\xa9\n\n", &[("message", "caf\u{e9}", "")]),
            (b"data: caf\xe9\n\n", &[("message", "caf\u{fffd}", "")]),
            // An event without data is none, but its id counts. Its type does not.
            (b"event: ping\nid: 7\n\ndata: x\n\n", &[("message", "x", "7")]),
            (b"event: add\ndata: 1\n\ndata: 2\n\n", &[("add", "1", ""), ("message", "2", "")]),
            (b"id: 1\nid: a\0b\ndata: x\n\n", &[("message", "x", "1")]),
            (b"Data: x\n data: y\nunknown: z\n\n", &[]),
            // The end of the stream does not end an event.
            (b"data: lost\n", &[]),
            (b"data: lost", &[]),
        ] {
            for length in [1, 2, 3, stream.len()] {
                let seen = read(stream, length);
                let seen: Vec<_> = seen.iter().map(|(a, b, c)| (&**a, &**b, &**c)).collect();
                assert_eq!(seen, expected, "{:?} by {length}", String::from_utf8_lossy(stream));
            }
        }
    }

    #[test]
    fn line_that_ends_with_cr_does_not_wait_for_the_next_byte() {
        assert_eq!(read(b"data: a\r\r", 100).len(), 1);
    }

    #[test]
    fn reconnection_time_is_digits_only() {
        let mut parser = Parser::new(1_000);
        for (line, millis) in [
            ("retry: 1500", Some(1_500)),
            ("retry: 2s", Some(1_500)),
            ("retry: -1", Some(1_500)),
            ("retry: 99999999999999999999", Some(1_500)),
            ("retry:0", Some(0)),
            ("retry", Some(0)),
        ] {
            parser.feed(&Bytes::from(format!("{line}\n")));
            assert!(parser.next().unwrap().is_none());
            assert_eq!(
                parser.reconnection_time(),
                millis.map(Duration::from_millis),
                "{line}"
            );
        }
    }

    #[test]
    fn event_has_a_bound_in_one_line_and_in_many() {
        for (stream, fits) in [
            ("data: 3456789".to_owned(), true),
            ("data: 3456789x".to_owned(), false),
            (": a comment is a line, too".to_owned(), false),
            ("data: 1\n".repeat(4), true),
            ("data: 1\n".repeat(5), false),
            ("data: 1\n\n".repeat(100), true),
        ] {
            let mut parser = Parser::new(13);
            parser.feed(&Bytes::from(stream.clone()));
            let end = loop {
                match parser.next() {
                    Ok(Some(_)) => {}
                    end => break end,
                }
            };
            assert_eq!(end.is_ok(), fits, "{stream}");
        }
    }
}
