//! stub
/// What is wrong with a chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The bytes do not match their checksum.
    #[error("the checksum of a chunk does not match")]
    Body,
}
