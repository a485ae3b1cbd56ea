//! Enumerations that the API server validates and that a reader must survive.
//!
//! One object with a value that this build does not know must not stop the watch of all the others, so an unknown
//! text is kept in `Other` and written back as it came. Whoever resolves the spec rejects it with a sentence.

/// Declares an enumeration of API texts with a catch-all variant `Other`.
///
/// The generated type serialises as a plain string, has `as_str`, `Display`, `From<&str>` and `ALL`, and its JSON
/// schema lists the known texts.
macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $text:literal ),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $( $(#[$vmeta])* $variant, )+
            /// A text that this build does not know, kept as it was read.
            Other(String),
        }

        impl $name {
            /// Every known value, in the order of the CRD's enumeration.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];

            /// The text as it stands in the API.
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => $text, )+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $( $text => Self::$variant, )+
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                Ok(Self::from(text.as_str()))
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$( $text ),+] })
            }
        }
    };
}

/// The value of a required field that a stored object does not have: one that no rule accepts.
pub(crate) fn missing<T: for<'a> From<&'a str>>() -> T {
    T::from("")
}

pub(crate) use open_enum;
