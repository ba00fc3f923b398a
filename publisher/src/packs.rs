//! Packs on their way to the bucket: filled here, uploaded by a task of their own, at most a few waiting.

use std::sync::Arc;

use bytes::Bytes;
use edgepress_site::release::pack::PackedBody;
use edgepress_site::release::{Kind, PackWriter, Place, Sink};
use edgepress_site::version::Digest;
use edgepress_store::bucket::{Bucket, Headers, Put};
use edgepress_store::release::pack_key;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::PublishError;

/// Closed packs that wait for the upload before whoever fills them waits too.
const WAITING: usize = 2;

/// The packs of one release.
pub(crate) struct Packs {
    pub(crate) writer: PackWriter,
    uploads: mpsc::Sender<(Digest, Vec<u8>)>,
    uploader: JoinHandle<Result<u64, PublishError>>,
}

impl Packs {
    /// Packs that go to `bucket`, or nowhere.
    pub(crate) fn new(bucket: Option<Arc<dyn Bucket>>) -> Self {
        let (uploads, mut closed) = mpsc::channel::<(Digest, Vec<u8>)>(WAITING);
        let uploader = tokio::spawn(async move {
            let mut uploaded = 0;
            while let Some((name, pack)) = closed.recv().await {
                let Some(bucket) = &bucket else { continue };
                uploaded += pack.len() as u64;
                let headers = Headers {
                    content_type: Some("application/octet-stream".into()),
                    cache_control: Some("max-age=31536000, immutable".into()),
                };
                bucket.put(Put { key: pack_key(name), body: Bytes::from(pack), headers }).await?;
            }
            Ok(uploaded)
        });
        Self { writer: PackWriter::new(), uploads, uploader }
    }

    /// Appends a body, and sends the pack off if that filled it.
    pub(crate) async fn append_body(&mut self, body: &PackedBody) -> Result<Place, PublishError> {
        let place = self.writer.append_body(body);
        if self.writer.is_full()
            && let Some(pack) = self.writer.close()
            && self.uploads.send(pack).await.is_err()
        {
            return Err(self.failure().await);
        }
        Ok(place)
    }

    /// Closes the open pack and waits until all packs are stored: the writer, which knows their names,
    /// and the bytes that were uploaded.
    pub(crate) async fn finish(mut self) -> Result<(PackWriter, u64), PublishError> {
        if let Some(pack) = self.writer.close()
            && self.uploads.send(pack).await.is_err()
        {
            return Err(self.failure().await);
        }
        drop(self.uploads);
        Ok((self.writer, self.uploader.await??))
    }

    /// Why the uploader stopped taking packs.
    async fn failure(&mut self) -> PublishError {
        match (&mut self.uploader).await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => PublishError::Task("the uploader stopped without a reason".to_owned()),
            Err(error) => error.into(),
        }
    }
}

/// The way in for the tree algorithm, which runs on a blocking thread.
impl Sink for Packs {
    type Error = PublishError;

    fn append(
        &mut self,
        kind: Kind,
        content: &dyn Fn(&PackWriter) -> Vec<u8>,
    ) -> Result<Place, PublishError> {
        let content = content(&self.writer);
        let place = self.writer.append(kind, &content);
        if self.writer.is_full()
            && let Some(pack) = self.writer.close()
            && self.uploads.blocking_send(pack).is_err()
        {
            return Err(tokio::runtime::Handle::current().block_on(self.failure()));
        }
        Ok(place)
    }
}
