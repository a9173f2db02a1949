//! An array of a response that may be long: its elements are there, or they are made while they are written, one after
//! another, so that the answer costs its own bytes and no tree beside them.
//!
//! Invariant: what is written is the same either way, and what makes the elements gives the same ones each time, as many as
//! it said. Whoever looks at the elements has them made.

use super::value::Wire;
use super::{DecodeError, Reader, Writer};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::fmt;
use core::ops::Deref;

/// Gives every element to a taker, until that has enough.
type Make<'a, T> = dyn Fn(&mut dyn FnMut(T) -> bool) + 'a;

#[derive(Clone)]
pub struct List<'a, T> {
    /// Empty until somebody looks, where there is something to make them of.
    there: OnceCell<Vec<T>>,
    made_of: Option<(usize, Rc<Make<'a, T>>)>,
}

impl<'a, T> List<'a, T> {
    /// `count` elements, which `each` gives in order, every time.
    pub fn lazy<I: Iterator<Item = T>>(count: usize, each: impl Fn() -> I + 'a) -> List<'a, T> {
        let make = move |take: &mut dyn FnMut(T) -> bool| {
            for element in each() {
                if !take(element) {
                    return;
                }
            }
        };
        List { there: OnceCell::new(), made_of: Some((count, Rc::new(make))) }
    }

    /// How many there are; nothing is made for that.
    pub fn count(&self) -> usize {
        self.made_of.as_ref().map_or_else(|| self.len(), |(count, _)| *count)
    }

    fn for_each(&self, mut take: impl FnMut(&T) -> bool) {
        match &self.made_of {
            Some((count, make)) => {
                let mut made = 0;
                let mut more = true;
                make(&mut |element| {
                    made += 1;
                    more = take(&element);
                    more
                });
                assert!(made == *count || !more, "{made} elements of {count}");
            }
            None => {
                self.iter().all(take);
            }
        }
    }
}

impl<T> Deref for List<'_, T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        self.there.get_or_init(|| {
            let mut all = Vec::new();
            if let Some((_, make)) = &self.made_of {
                make(&mut |element| {
                    all.push(element);
                    true
                });
            }
            all
        })
    }
}

impl<T> From<Vec<T>> for List<'_, T> {
    fn from(all: Vec<T>) -> Self {
        List { there: OnceCell::from(all), made_of: None }
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        List::from(Vec::new())
    }
}

impl<T> FromIterator<T> for List<'_, T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        List::from(Vec::from_iter(all))
    }
}

impl<'l, T> IntoIterator for &'l List<'_, T> {
    type Item = &'l T;
    type IntoIter = core::slice::Iter<'l, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> IntoIterator for List<'_, T> {
    type Item = T;
    type IntoIter = alloc::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        let _made: &Vec<T> = &self;
        self.there.into_inner().unwrap_or_default().into_iter()
    }
}

impl<T: PartialEq> PartialEq for List<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: fmt::Debug> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<'de: 'a, 'a, T: Wire<'de>> Wire<'de> for List<'a, T> {
    fn min_size(version: i16, flexible: bool) -> usize {
        <Vec<T>>::min_size(version, flexible)
    }

    fn read(r: &mut Reader<'de>, version: i16, flexible: bool) -> Result<Self, DecodeError> {
        <Vec<T>>::read(r, version, flexible).map(List::from)
    }

    fn write(&self, w: &mut Writer, version: i16, flexible: bool) {
        Self::write_nullable(Some(self), w, version, flexible);
    }

    fn min_size_nullable(version: i16, flexible: bool) -> usize {
        <Vec<T>>::min_size_nullable(version, flexible)
    }

    fn read_nullable(r: &mut Reader<'de>, version: i16, flexible: bool) -> Result<Option<Self>, DecodeError> {
        Ok(<Vec<T>>::read_nullable(r, version, flexible)?.map(List::from))
    }

    fn write_nullable(value: Option<&Self>, w: &mut Writer, version: i16, flexible: bool) {
        w.put_long_len(value.map(List::count), flexible);
        if let Some(list) = value {
            list.for_each(|element| {
                element.write(w, version, flexible);
                !w.is_over()
            });
        }
    }

    fn write_empty(w: &mut Writer, _version: i16, flexible: bool) {
        w.put_long_len(Some(0), flexible);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    #[test]
    fn elements_that_are_made_while_they_are_written_are_the_same_and_never_there_together() {
        let alive = Cell::new(0usize);
        struct Element<'c>(i32, &'c Cell<usize>);
        impl Drop for Element<'_> {
            fn drop(&mut self) {
                self.1.set(self.1.get() - 1);
            }
        }
        let most = Cell::new(0);
        let list = List::lazy(1000, || {
            (0..1000).map(|number| {
                alive.set(alive.get() + 1);
                most.set(most.get().max(alive.get()));
                Element(number, &alive)
            })
        });
        let mut sum = 0;
        list.for_each(|element| {
            sum += element.0;
            true
        });
        assert_eq!((sum, most.get(), list.count()), (499_500, 1, 1000));
        let numbers: List<'_, i32> = List::lazy(1000, || 0..1000);
        let (mut lazy, mut whole) = (Writer::new(), Writer::new());
        Wire::write(&numbers, &mut lazy, 0, true);
        Wire::write(&Vec::from_iter(0..1000), &mut whole, 0, true);
        assert_eq!(lazy.finish().concat(), whole.finish().concat());
    }

    #[test]
    fn counting_stops_where_it_is_too_much() {
        let made = Cell::new(0);
        let endless: List<'_, i32> = List::lazy(usize::MAX >> 1, || (0..).inspect(|_| made.set(made.get() + 1)));
        let mut w = Writer::counting(4000);
        Wire::write(&endless, &mut w, 0, false);
        assert!(w.is_over() && made.get() == 1000, "{} made", made.get());
    }
}
