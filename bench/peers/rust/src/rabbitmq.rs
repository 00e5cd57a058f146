//! RabbitMQ through lapin: durable classic queues, persistent messages, confirms, each job acknowledged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use lapin::PublisherConfirm;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::task::JoinHandle;

use crate::protocol::{Body, Failure, Notes, Peer};

const CONSUMERS: usize = 2;
const PREFETCH: u16 = 250;
/// The message is to be on disk before it is confirmed.
const PERSISTENT: u8 = 2;

/// One connection for all callers, and one for each consumer.
#[derive(Clone)]
pub struct Rabbit {
    uri: String,
    connection: Arc<Connection>,
    channel: Channel,
    ids: Arc<AtomicU64>,
    queue: Arc<Mutex<String>>,
    workers: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Rabbit {
    pub async fn connect(port: &str) -> Result<Self, Failure> {
        let uri = format!("amqp://guest:guest@127.0.0.1:{port}/%2f");
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self {
            uri,
            connection: Arc::new(connection),
            channel,
            ids: Arc::default(),
            queue: Arc::default(),
            workers: Arc::default(),
        })
    }

    fn queue(&self) -> String {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn publish(&self) -> Result<(String, PublisherConfirm), Failure> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed).to_string();
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(id.clone().into());
        let body = serde_json::to_vec(&Body::new())?;
        let options = BasicPublishOptions::default();
        let confirm = self.channel.basic_publish("".into(), self.queue().into(), options, &body, properties).await?;
        Ok((id, confirm))
    }

    async fn consume(&self, notes: Notes) -> Result<JoinHandle<()>, Failure> {
        let connection = Connection::connect(&self.uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let mut jobs = channel.basic_consume(self.queue().into(), "".into(), options, FieldTable::default()).await?;
        Ok(tokio::spawn(async move {
            // It lives as long as its consumer.
            let _connection = connection;
            while let Some(Ok(job)) = jobs.next().await {
                let id = job.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
                notes.started(id);
                if let Err(error) = job.ack(BasicAckOptions::default()).await {
                    eprintln!("an acknowledgement failed: {error}");
                }
            }
        }))
    }
}

impl Peer for Rabbit {
    async fn open(&self, queue: &str) -> Result<(), Failure> {
        if !self.connection.status().connected() {
            return Err("the connection to RabbitMQ is gone".into());
        }
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
        queue.clone_into(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    async fn one(&self) -> Result<String, Failure> {
        let (id, confirm) = self.publish().await?;
        confirmed(confirm).await?;
        Ok(id)
    }

    async fn bulk(&self, jobs: u64) -> Result<Vec<String>, Failure> {
        let mut sent = Vec::new();
        for _ in 0..jobs {
            sent.push(self.publish().await?);
        }
        let mut ids = Vec::new();
        for (id, confirm) in sent {
            confirmed(confirm).await?;
            ids.push(id);
        }
        Ok(ids)
    }

    async fn work(&self, notes: Notes) -> Result<(), Failure> {
        for _ in 0..CONSUMERS {
            let worker = self.consume(notes.clone()).await?;
            self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        }
        Ok(())
    }

    async fn rest(&self) -> Result<(), Failure> {
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        for worker in workers {
            worker.abort();
            drop(worker.await);
        }
        Ok(())
    }
}

async fn confirmed(confirm: PublisherConfirm) -> Result<(), Failure> {
    let answer = confirm.await?;
    if answer.is_ack() { Ok(()) } else { Err(format!("RabbitMQ did not confirm: {answer:?}").into()) }
}
