//! The one macro that turns a schema into structures with a decoder and an encoder for every version.
//!
//! ```text
//! schema! {
//!     /// Documentation.
//!     struct Name<'a>: Request PRODUCE 3..=13, flexible 9.. {      // a message: its kind, API, versions
//!         field: Type [3..],                                       // in versions 3 and newer
//!         field: Option<Str<'a>> [0.., null 10..],                 // null only from 10; everywhere where not said
//!         field: i32 [10.., tag 0] = -1,                           // a tagged field; its default
//!     }
//!     struct Part { .. }                                           // a structure inside messages
//! }
//! ```
//!
//! Fields stand in the order in which they are written. A structure has a lifetime if it borrows. A field that a
//! version lacks has its default when decoded and is left out when encoded. Tagged fields stand in ascending order and
//! are written only where they differ from their default.

macro_rules! schema {
    ($(
        $(#[$meta:meta])*
        struct $name:ident $(<$lt:lifetime>)?
        $(: $kind:ident $api:ident $min:literal..=$max:literal, flexible $flex:literal..)?
        {
            $( $(#[$field_meta:meta])* $field:ident: $ty:ty [$($spec:tt)*] $(= $default:expr)?, )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name $(<$lt>)? {
            $( $(#[$field_meta])* pub $field: $ty, )*
        }

        impl $(<$lt>)? Default for $name $(<$lt>)? {
            fn default() -> Self {
                $name { $( $field: schema!(@default $($default)?), )* }
            }
        }

        #[allow(unused_mut, unused_variables)]
        impl<'de $(: $lt, $lt)?> $crate::wire::value::Wire<'de> for $name $(<$lt>)? {
            #[inline]
            fn min_size(version: i16, flexible: bool) -> usize {
                let mut size = usize::from(flexible);
                $( schema!(@min_size size, version, flexible, $ty, [$($spec)*]); )*
                size
            }

            fn read(
                r: &mut $crate::wire::Reader<'de>,
                version: i16,
                flexible: bool,
            ) -> Result<Self, $crate::wire::DecodeError> {
                let mut value = Self::default();
                $( schema!(@read value, $field, r, version, flexible, $ty, [$($spec)*]); )*
                if flexible {
                    r.tags(|tag, r| {
                        $( schema!(@read_tag tag, value, $field, r, version, $ty, [$($spec)*]); )*
                        Ok(false)
                    })?;
                }
                Ok(value)
            }

            fn write(&self, w: &mut $crate::wire::Writer, version: i16, flexible: bool) {
                $( schema!(@write self.$field, w, version, flexible, $ty, [$($spec)*]); )*
                if flexible {
                    let mut tags = 0u32;
                    $( schema!(@count_tag self.$field, tags, version, $ty, [$($spec)*] $($default)?); )*
                    w.put_uvarint(tags);
                    $( schema!(@write_tag self.$field, w, version, $ty, [$($spec)*] $($default)?); )*
                }
            }

            fn write_empty(w: &mut $crate::wire::Writer, version: i16, flexible: bool) {
                $crate::wire::value::Wire::write(&Self::default(), w, version, flexible);
            }
        }

        schema!(@message $name, ['de $(: $lt, $lt)?], [$(<$lt>)?], [$($kind $api $min $max $flex)?]);
    )*};

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };

    (@min_size $size:ident, $version:ident, $flexible:ident, $ty:ty, [$range:expr, tag $tag:literal]) => {};
    (@min_size $size:ident, $version:ident, $flexible:ident, $ty:ty, [$range:expr $(, null $nulls:expr)?]) => {
        if ($range).contains(&$version) {
            $size += <$ty as $crate::wire::value::Wire<'de>>::min_size($version, $flexible);
        }
    };

    (@read $value:ident, $field:ident, $r:ident, $version:ident, $flexible:ident, $ty:ty,
        [$range:expr, tag $tag:literal]) => {};
    (@read $value:ident, $field:ident, $r:ident, $version:ident, $flexible:ident, $ty:ty,
        [$range:expr $(, null $nulls:expr)?]) => {
        if ($range).contains(&$version) {
            $value.$field = <$ty as $crate::wire::value::Wire<'de>>::read($r, $version, $flexible)
                .map_err(|error| error.in_field(stringify!($field)))?;
            $( if !($nulls).contains(&$version) && $value.$field.is_none() {
                return Err($crate::wire::DecodeError { field: stringify!($field), reason: $crate::wire::Reason::Null });
            } )?
        }
    };

    (@read_tag $got:ident, $value:ident, $field:ident, $r:ident, $version:ident, $ty:ty,
        [$range:expr, tag $tag:literal]) => {
        if $got == $tag && ($range).contains(&$version) {
            $value.$field = <$ty as $crate::wire::value::Wire<'de>>::read($r, $version, true)
                .map_err(|error| error.in_field(stringify!($field)))?;
            return Ok(true);
        }
    };
    (@read_tag $got:ident, $value:ident, $field:ident, $r:ident, $version:ident, $ty:ty,
        [$range:expr $(, null $nulls:expr)?]) => {};

    (@write $field:expr, $w:ident, $version:ident, $flexible:ident, $ty:ty, [$range:expr, tag $tag:literal]) => {};
    (@write $field:expr, $w:ident, $version:ident, $flexible:ident, $ty:ty, [$range:expr, null $nulls:expr]) => {
        if ($range).contains(&$version) {
            if $field.is_none() && !($nulls).contains(&$version) {
                <$ty as $crate::wire::value::Wire<'de>>::write_empty($w, $version, $flexible);
            } else {
                <$ty as $crate::wire::value::Wire<'de>>::write(&$field, $w, $version, $flexible);
            }
        }
    };
    (@write $field:expr, $w:ident, $version:ident, $flexible:ident, $ty:ty, [$range:expr]) => {
        if ($range).contains(&$version) {
            <$ty as $crate::wire::value::Wire<'de>>::write(&$field, $w, $version, $flexible);
        }
    };

    (@count_tag $field:expr, $tags:ident, $version:ident, $ty:ty,
        [$range:expr, tag $tag:literal] $($default:expr)?) => {
        if ($range).contains(&$version) {
            let default: $ty = schema!(@default $($default)?);
            $tags += u32::from($field != default);
        }
    };
    (@count_tag $field:expr, $tags:ident, $version:ident, $ty:ty,
        [$range:expr $(, null $nulls:expr)?] $($default:expr)?) => {};

    (@write_tag $field:expr, $w:ident, $version:ident, $ty:ty,
        [$range:expr, tag $tag:literal] $($default:expr)?) => {
        if ($range).contains(&$version) {
            let default: $ty = schema!(@default $($default)?);
            if $field != default {
                $w.put_tag($tag, |w| <$ty as $crate::wire::value::Wire<'de>>::write(&$field, w, $version, true));
            }
        }
    };
    (@write_tag $field:expr, $w:ident, $version:ident, $ty:ty,
        [$range:expr $(, null $nulls:expr)?] $($default:expr)?) => {};

    (@message $name:ident, [$($params:tt)*], [$($args:tt)*], []) => {};
    (@message $name:ident, [$($params:tt)*], [$($args:tt)*],
        [$kind:ident $api:ident $min:literal $max:literal $flex:literal]) => {
        impl<$($params)*> $crate::wire::Message<'de> for $name $($args)* {
            const API: $crate::wire::ApiKey = $crate::wire::ApiKey::$api;
            const KIND: $crate::wire::Kind = $crate::wire::Kind::$kind;
            const MIN_VERSION: i16 = $min;
            const MAX_VERSION: i16 = $max;

            fn decode(r: &mut $crate::wire::Reader<'de>, version: i16) -> Result<Self, $crate::wire::DecodeError> {
                if !($min..=$max).contains(&version) {
                    let reason = $crate::wire::Reason::UnsupportedVersion { version, min: $min, max: $max };
                    return Err($crate::wire::DecodeError { field: stringify!($name), reason });
                }
                $crate::wire::value::Wire::read(r, version, version >= $flex)
            }

            fn encode(&self, w: &mut $crate::wire::Writer, version: i16) {
                assert!(($min..=$max).contains(&version), "{} has no version {version}", stringify!($name));
                $crate::wire::value::Wire::write(self, w, version, version >= $flex);
            }
        }

        const _: () = assert!($flex == $crate::wire::ApiKey::$api.flexible_from());
    };
}
