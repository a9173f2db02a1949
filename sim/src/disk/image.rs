//! The bytes of one file, in pages that are shared until one is written to.
//!
//! An audit looks at a copy of all files after every crash, and most files are reserved long before they are written:
//! neither must cost what the files hold.
//!
//! Invariant: there is a page for every byte below `len`, and what a page holds beyond `len` is zeros.

use std::sync::Arc;

const PAGE: usize = 4096;

type Page = [u8; PAGE];

static ZEROS: Page = [0; PAGE];

#[derive(Clone, Default)]
pub struct Image {
    /// `None`: zeros.
    pages: Arc<Vec<Option<Arc<Page>>>>,
    len: usize,
}

/// Where a range touches a page: the page, and the range within it.
fn pieces(offset: usize, len: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
    let end = offset + len;
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (page, from) = (at / PAGE, at % PAGE);
        let to = (from + end - at).min(PAGE);
        at += to - from;
        Some((page, from..to))
    })
}

impl Image {
    pub fn of(bytes: &[u8]) -> Image {
        let mut image = Image::default();
        image.put(0, bytes);
        image
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn page(&self, index: usize) -> &Page {
        self.pages[index].as_deref().unwrap_or(&ZEROS)
    }

    /// Fills `buf` with what there is from `offset` on, and gives the number of bytes.
    pub fn read(&self, offset: usize, buf: &mut [u8]) -> usize {
        let len = buf.len().min(self.len.saturating_sub(offset));
        let mut rest = &mut buf[..len];
        for (page, range) in pieces(offset, len) {
            let (now, later) = rest.split_at_mut(range.len());
            now.copy_from_slice(&self.page(page)[range]);
            rest = later;
        }
        len
    }

    /// Whether it holds just these bytes there.
    pub fn holds(&self, offset: usize, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        offset + bytes.len() <= self.len
            && pieces(offset, bytes.len()).all(|(page, range)| {
                let (now, later) = rest.split_at(range.len());
                rest = later;
                self.page(page)[range] == *now
            })
    }

    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        for (page, range) in pieces(0, self.len) {
            bytes.extend_from_slice(&self.page(page)[range]);
        }
        bytes
    }

    /// Writes the bytes; the file grows as far as they reach.
    pub fn put(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        let pages = Arc::make_mut(&mut self.pages);
        if end > self.len {
            self.len = end;
            pages.resize(end.div_ceil(PAGE), None);
        }
        let mut rest = bytes;
        for (page, range) in pieces(offset, bytes.len()) {
            let (now, later) = rest.split_at(range.len());
            rest = later;
            let page = &mut pages[page];
            if page.is_none() && *now == ZEROS[range.clone()] {
                continue;
            }
            match <&Page>::try_from(now) {
                // Nothing of the old page stays: it need not be copied where it is shared.
                Ok(whole) => match page.as_mut().and_then(Arc::get_mut) {
                    Some(own) => own.copy_from_slice(whole),
                    None => *page = Some(Arc::new(*whole)),
                },
                Err(_) => {
                    let page = page.get_or_insert_with(|| Arc::new(ZEROS));
                    Arc::make_mut(page)[range].copy_from_slice(now);
                }
            }
        }
    }

    /// Cuts it, or extends it with zeros.
    pub fn set_len(&mut self, len: usize) {
        if len == self.len {
            return;
        }
        let pages = Arc::make_mut(&mut self.pages);
        pages.resize(len.div_ceil(PAGE), None);
        if len < self.len
            && !len.is_multiple_of(PAGE)
            && let Some(Some(last)) = pages.last_mut()
        {
            Arc::make_mut(last)[len % PAGE..].fill(0);
        }
        self.len = len;
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Image) -> bool {
        let same = |index: usize| self.page(index) == other.page(index);
        self.len == other.len && (Arc::ptr_eq(&self.pages, &other.pages) || (0..self.pages.len()).all(same))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Put(usize, Vec<u8>),
        Len(usize),
        Copy,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let bytes = (0..6_000usize, any::<bool>()).prop_map(|(len, zeros)| {
            let byte = |at: usize| if zeros { 0 } else { at as u8 | 1 };
            (0..len).map(byte).collect()
        });
        let offset = prop_oneof![(0..5usize).prop_map(|page| page * PAGE), 0..20_000usize];
        let step = prop_oneof![
            (offset, bytes).prop_map(|(offset, bytes)| Step::Put(offset, bytes)),
            (0..20_000usize).prop_map(Step::Len),
            Just(Step::Copy),
        ];
        proptest::collection::vec(step, 1..30)
    }

    proptest! {
        #[test]
        fn an_image_is_a_vector_of_bytes_and_its_copies_stay_as_they_were(steps in steps()) {
            let (mut image, mut bytes) = (Image::default(), Vec::new());
            let mut copies = Vec::new();
            for step in steps {
                match step {
                    Step::Put(offset, put) => {
                        image.put(offset, &put);
                        let end = offset + put.len();
                        if !put.is_empty() && bytes.len() < end {
                            bytes.resize(end, 0);
                        }
                        if !put.is_empty() {
                            bytes[offset..end].copy_from_slice(&put);
                        }
                        prop_assert!(put.is_empty() || image.holds(offset, &put));
                    }
                    Step::Len(len) => {
                        image.set_len(len);
                        bytes.resize(len, 0);
                    }
                    Step::Copy => copies.push((image.clone(), bytes.clone())),
                }
                let mut some = [7; 5_000];
                let len = image.read(1_000, &mut some);
                prop_assert_eq!(&some[..len], &bytes[bytes.len().min(1_000)..bytes.len().min(6_000)]);
            }
            copies.push((image, bytes));
            for (image, bytes) in &copies {
                prop_assert_eq!(image.len(), bytes.len());
                prop_assert!(image.to_vec() == *bytes && *image == Image::of(bytes));
            }
        }
    }
}
