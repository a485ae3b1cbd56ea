//! The `AuthStatus` call, which the client library does not offer.
//!
//! The other way to learn whether authentication is on is to log in with a wrong password, which the server writes
//! into its log as an attack. The request is empty, and of the answer only one field is read.

use bytes::{Buf as _, BufMut as _};
use http::uri::PathAndQuery;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Field number of `enabled` in `etcdserverpb.AuthStatusResponse`.
const ENABLED: u64 = 2;

/// Whether the server asks its clients who they are.
pub(crate) async fn enabled(channel: Channel) -> Result<bool, etcd_client::Error> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await?;
    let path = PathAndQuery::from_static("/etcdserverpb.Auth/AuthStatus");
    let answer = grpc.unary(Request::new(Vec::new()), path, Bytes).await?.into_inner();
    Ok(varint_field(&answer, ENABLED).is_some_and(|value| value != 0))
}

/// Value of a varint field of a protobuf message, if it is there.
fn varint_field(mut message: &[u8], wanted: u64) -> Option<u64> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let (field, wire_type) = (tag >> 3, tag & 7);
        let skip = match wire_type {
            0 => {
                let value = varint(&mut message)?;
                if field == wanted {
                    return Some(value);
                }
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(skip..)?;
    }
    None
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Messages as they are on the wire.
#[derive(Clone, Copy, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_field_behind_a_header() {
        // header { cluster_id: 1, revision: 300 }, enabled: true, authRevision: 5
        let message = [0x0a, 5, 0x08, 1, 0x18, 0xac, 0x02, 0x10, 1, 0x18, 5];
        assert_eq!(varint_field(&message, ENABLED), Some(1));
        assert_eq!(varint_field(&message, 3), Some(5));
        assert_eq!(varint_field(&message[..7], ENABLED), None, "false is not sent");
    }

    #[test]
    fn a_broken_message_yields_nothing() {
        for message in [&[0x0a, 200][..], &[0x0b], &[0xff; 11], &[0x10], &[0x08, 0x80]] {
            assert_eq!(varint_field(message, ENABLED), None, "{message:?}");
        }
    }
}
