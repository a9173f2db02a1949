//! The books of one shard: what each client that has a quota did lately.
//!
//! A client without a quota is not booked. Invariant: what all books take stays below a bound: those that were not used
//! for an hour go, as Kafka's sensors do, and where there are too many, the half that was not used for the longest time.

use super::{Bucket, Limit, QuotaKey, Rate, Windows};
use crate::boundary::Instant;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Kafka's `InactiveSensorExpirationTimeSeconds`.
const UNUSED_MAX: Duration = Duration::from_secs(3600);
/// What a book takes beside its names: twelve windows, and its place in the table.
const BOOK_BYTES: usize = 512;

/// Who shares a quota: everything of a user, one client of a user, or one client whoever its user is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub user: Option<String>,
    pub client_id: Option<String>,
}

impl Subject {
    fn bytes(&self) -> usize {
        BOOK_BYTES + self.user.as_ref().map_or(0, String::len) + self.client_id.as_ref().map_or(0, String::len)
    }
}

/// What a subject did, for the books of other shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub key: QuotaKey,
    pub subject: Subject,
    pub amount: i64,
}

/// What one subject did lately.
#[derive(Debug, Default)]
pub struct Book {
    rate: Rate,
    /// Of what is taken from a bucket instead.
    bucket: Option<Bucket>,
    used: Instant,
}

#[derive(Debug)]
pub struct Books {
    books: BTreeMap<(QuotaKey, Subject), Book>,
    bytes: usize,
    bytes_max: usize,
}

impl Books {
    pub fn new(bytes_max: usize) -> Books {
        Books { books: BTreeMap::new(), bytes: 0, bytes_max }
    }

    pub fn len(&self) -> usize {
        self.books.len()
    }

    pub fn is_empty(&self) -> bool {
        self.books.is_empty()
    }

    fn book(&mut self, whose: &(QuotaKey, Subject), now: Instant) -> &mut Book {
        if !self.books.contains_key(whose) {
            let bytes = whose.1.bytes();
            if self.bytes + bytes > self.bytes_max {
                self.make_room(now);
            }
            self.bytes += bytes;
            self.books.insert(whose.clone(), Book::default());
        }
        let book = self.books.get_mut(whose).expect("it is there, or was just put there");
        book.used = now;
        book
    }

    /// Books what was done on another shard.
    pub fn record(&mut self, usage: Usage, now: Instant, windows: Windows) {
        self.book(&(usage.key, usage.subject), now).rate.record(usage.amount, millis(now), windows);
    }

    /// Books what was done here, and says how long the subject has to wait.
    pub fn charge(
        &mut self,
        whose: &(QuotaKey, Subject),
        amount: i64,
        bound: u64,
        now: Instant,
        windows: Windows,
    ) -> u64 {
        let rate = &mut self.book(whose, now).rate;
        rate.record(amount, millis(now), windows);
        rate.throttle_ms(bound, millis(now), windows)
    }

    /// The bucket of a subject, and what it gives a second.
    pub fn bucket(
        &mut self,
        key: QuotaKey,
        subject: Subject,
        limit: Limit,
        now: Instant,
        windows: Windows,
    ) -> &mut Bucket {
        let book = self.book(&(key, subject), now);
        book.bucket.get_or_insert_with(|| Bucket::new(limit.millionths(), millis(now), windows))
    }

    /// Forgets those that were not used for long.
    pub fn expire(&mut self, now: Instant) {
        self.keep(|book| now.since(book.used) < UNUSED_MAX);
    }

    fn make_room(&mut self, now: Instant) {
        self.expire(now);
        if self.bytes > self.bytes_max / 2 {
            let mut used: Vec<Instant> = self.books.values().map(|book| book.used).collect();
            used.sort_unstable();
            let median = used[used.len() / 2];
            // Where many were used at once, so that none is older: all.
            let newest = used[used.len() - 1];
            self.keep(|book| if median == newest { book.used > newest } else { book.used > median });
        }
    }

    fn keep(&mut self, keeps: impl Fn(&Book) -> bool) {
        let bytes = &mut self.bytes;
        self.books.retain(|(_, subject), book| {
            let kept = keeps(book);
            if !kept {
                *bytes -= subject.bytes();
            }
            kept
        });
    }
}

/// Milliseconds since the process started.
pub fn millis(now: Instant) -> u64 {
    now.0 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const WINDOWS: Windows = Windows { count: 11, size_ms: 1000 };

    fn usage(name: &str, amount: i64) -> Usage {
        let subject = Subject { user: None, client_id: Some(name.into()) };
        Usage { key: QuotaKey::ProducerByteRate, subject, amount }
    }

    #[test]
    fn a_million_strangers_take_no_more_memory_than_is_theirs() {
        let mut books = Books::new(1 << 20);
        for number in 0..20_000u64 {
            let now = Instant(number * 1_000_000);
            books.record(usage(&format!("stranger-{number}"), 1), now, WINDOWS);
            books.record(usage("regular", 1000), now, WINDOWS);
            assert!(books.bytes <= 1 << 20, "{} bytes after {number}", books.bytes);
        }
        let regular = usage("regular", 0);
        let whose = (regular.key, regular.subject);
        let wait = books.charge(&whose, 0, 1_000_000, Instant(20_000_000_000), WINDOWS);
        assert!(wait > 1_000_000, "who is there all the time keeps his book: {wait} ms");
    }

    #[test]
    fn what_is_unused_for_an_hour_is_forgotten() {
        let mut books = Books::new(1 << 20);
        books.record(usage("old", 1), Instant(0), WINDOWS);
        books.record(usage("new", 1), Instant(3_000_000_000_000), WINDOWS);
        books.expire(Instant(3_600_000_000_000));
        assert_eq!((books.len(), books.bytes), (1, BOOK_BYTES + 3));
    }

    #[test]
    fn many_that_were_used_at_once_go_at_once() {
        let mut books = Books::new(100 * BOOK_BYTES);
        for number in 0..500 {
            books.record(usage(&format!("{number}"), 1), Instant(7), WINDOWS);
        }
        assert!(books.len() < 100 && books.bytes <= 100 * BOOK_BYTES, "{} books", books.len());
    }
}
