'use strict';
// BullMQ: `node bullmq.js client|worker PORT`.

const { Queue, Worker } = require('bullmq');
const { Notes, PAYLOAD, enqueue, pace, serve } = require('./protocol');

const [role, port] = process.argv.slice(2);
const CONCURRENCY = 64;
const connection = { host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null };
// Without it every finished job stays in Redis for ever; the documentation recommends it for production.
const options = { removeOnComplete: true };
const notes = new Notes();

/** One queue at a time: that of the last run is closed when the next is named. */
let open = { name: null };
async function turnTo(name, make) {
  if (open.name === name) return open.it;
  await open.it?.close();
  open = { name, it: make(name) };
  await open.it.waitUntilReady();
  return open.it;
}

const queue = (name) => turnTo(name, () => new Queue(name, { connection }));
const way = {
  one: async () => (await open.it.add('no-op', PAYLOAD, options)).id,
  bulk: async (_, jobs) => {
    const job = { name: 'no-op', data: PAYLOAD, opts: options };
    const added = await open.it.addBulk(Array.from({ length: jobs }, () => job));
    return added.map((job) => job.id);
  },
};

const client = {
  enqueue: async (order) => {
    await queue(order.queue);
    return enqueue(way, notes, order);
  },
  pace: async (order) => {
    await queue(order.queue);
    return pace(way, notes, order);
  },
};

const handler = async (job) => notes.start(job.id);
const worker = {
  work: async ({ queue: name }) => {
    await turnTo(name, () => new Worker(name, handler, { connection, concurrency: CONCURRENCY }));
  },
  rest: async () => {
    await open.it?.close();
    open = { name: null };
  },
  count: () => ({ started: notes.started.length }),
};

serve({ ...(role === 'client' ? client : worker), dump: ({ file }) => notes.dump(file) });
