//! Ids inside of what callers serialize: payloads, outputs, their own records.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use windlass::{FlowId, JobId};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Approve {
//!     #[serde(with = "windlass::serde_id")]
//!     flow: FlowId,
//!     #[serde(with = "windlass::serde_id", default)]
//!     after: Option<JobId>,
//!     #[serde(with = "windlass::serde_id")]
//!     jobs: Vec<JobId>,
//! }
//!
//! let flow = FlowId::from_u128(7);
//! let json = serde_json::to_string(&Approve { flow, after: None, jobs: vec![JobId::from_u128(8)] })?;
//! assert!(json.starts_with(r#"{"flow":"00000000-0000-0000-0000-000000000007","after":null,"#));
//! assert_eq!(serde_json::from_str::<Approve>(&json)?.flow, flow);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! An id is its text, as it is shown, and 16 bytes in formats that nobody reads. The ids are the deciding core's own, which knows nothing of
//! serde, so they cannot say it themselves.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use windlass_scheduler::flow::FlowId;
use windlass_scheduler::job::JobId;
use windlass_scheduler::order::OrderId;

mod sealed {
    pub trait Sealed {}
}

/// An id: [`JobId`], [`FlowId`] or [`OrderId`].
pub trait Id: sealed::Sealed + Copy {
    #[doc(hidden)]
    fn from_uuid(uuid: Uuid) -> Self;

    #[doc(hidden)]
    fn uuid(self) -> Uuid;
}

/// An id, an `Option` of one, or a `Vec` of them.
pub trait Ids: sealed::Sealed + Sized {
    #[doc(hidden)]
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    #[doc(hidden)]
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Writes it, for `#[serde(with = "windlass::serde_id")]`.
///
/// # Errors
/// The serializer's own.
pub fn serialize<I: Ids, S: Serializer>(ids: &I, serializer: S) -> Result<S::Ok, S::Error> {
    ids.write(serializer)
}

/// Reads it, for `#[serde(with = "windlass::serde_id")]`.
///
/// # Errors
/// The deserializer's own, and where a text is no UUID.
pub fn deserialize<'de, I: Ids, D: Deserializer<'de>>(deserializer: D) -> Result<I, D::Error> {
    I::read(deserializer)
}

/// One that says how it is written.
struct Plain<I>(I);

impl<I: Id> Serialize for Plain<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let uuid = self.0.uuid();
        if serializer.is_human_readable() {
            serializer.collect_str(&uuid)
        } else {
            uuid.as_bytes().serialize(serializer)
        }
    }
}

impl<'de, I: Id> Deserialize<'de> for Plain<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let uuid = if deserializer.is_human_readable() {
            Uuid::parse_str(&String::deserialize(deserializer)?).map_err(D::Error::custom)?
        } else {
            Uuid::from_bytes(<[u8; 16]>::deserialize(deserializer)?)
        };
        Ok(Self(I::from_uuid(uuid)))
    }
}

macro_rules! id {
    ($($id:ident),+) => {$(
        impl sealed::Sealed for $id {}
        impl Id for $id {
            fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            fn uuid(self) -> Uuid {
                self.0
            }
        }
    )+};
}

id!(JobId, FlowId, OrderId);

impl<I: Id> Ids for I {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Plain(*self).serialize(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Plain::deserialize(deserializer).map(|id| id.0)
    }
}

impl<I: Id> sealed::Sealed for Option<I> {}
impl<I: Id> Ids for Option<I> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.map(Plain).serialize(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<Plain<I>>::deserialize(deserializer)?.map(|id| id.0))
    }
}

impl<I: Id> sealed::Sealed for Vec<I> {}
impl<I: Id> Ids for Vec<I> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|id| Plain(*id)))
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Plain<I>>::deserialize(deserializer)?.into_iter().map(|id| id.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error, SeqDeserializer, StringDeserializer};

    use super::*;

    const FLOW: FlowId = FlowId::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

    #[test]
    fn an_id_is_its_text_and_nothing_else_is_one() {
        let json = serde_json::to_string(&Plain(FLOW)).unwrap();
        assert_eq!(json, format!("\"{FLOW}\""));
        assert_eq!(serde_json::from_str::<Plain<FlowId>>(&json).unwrap().0, FLOW);
        let text = |text: &str| StringDeserializer::<Error>::new(text.to_owned());
        assert_eq!(JobId::read(text(&FLOW.to_string())).unwrap(), JobId(FLOW.0));
        assert!(OrderId::read(text("seven")).is_err());
    }

    #[test]
    fn lists_and_none_come_back() {
        let ids = vec![FLOW, FlowId::from_u128(1)];
        let mut json = Vec::new();
        ids.write(&mut serde_json::Serializer::new(&mut json)).unwrap();
        assert_eq!(Vec::<FlowId>::read(&mut serde_json::Deserializer::from_slice(&json)).unwrap(), ids);
        assert_eq!(Option::<FlowId>::read(&mut serde_json::Deserializer::from_slice(b"null")).unwrap(), None);
    }

    /// As `bincode` and its like, which nobody reads.
    #[test]
    fn it_is_sixteen_bytes_where_nobody_reads_them() {
        struct Bytes(SeqDeserializer<std::vec::IntoIter<u8>, Error>);
        impl<'de> Deserializer<'de> for Bytes {
            type Error = Error;

            fn deserialize_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                self.0.deserialize_any(visitor)
            }

            fn is_human_readable(&self) -> bool {
                false
            }

            serde::forward_to_deserialize_any! {
                bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
                newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
            }
        }
        let bytes = SeqDeserializer::new(FLOW.0.as_bytes().to_vec().into_iter());
        assert_eq!(FlowId::read(Bytes(bytes)).unwrap(), FLOW);
    }
}
