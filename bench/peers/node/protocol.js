'use strict';
// The program's end of the conversation that `driver/client.py` describes, for peers with clients in Node.

const fs = require('node:fs');
const readline = require('node:readline');
const { setTimeout: sleep } = require('node:timers/promises');

const CALLERS = 64;
const BULK = 1000;
// What every job carries: 200 bytes as JSON.
const PAYLOAD = { body: 'x'.repeat(189) };

const now = () => process.hrtime.bigint();

/** What was handed in, and what has started. */
class Notes {
  accepted = [];
  started = [];

  start(id) {
    this.started.push([id, now()]);
  }

  dump(file) {
    const lines = this.accepted.map(([id, due]) => `+ ${id} ${due}\n`);
    this.started.forEach(([id, at]) => lines.push(`- ${id} ${at}\n`));
    fs.writeFileSync(file, lines.join(''));
    this.accepted = [];
    this.started = [];
  }
}

/**
 * Hands in so many jobs in this way: `one(queue)` answers an id, `bulk(queue, jobs)` a list of them.
 */
async function enqueue({ one, bulk }, notes, { way, jobs, queue }) {
  const ids = [];
  const caller = async (share) => {
    for (let n = 0; n < share; n += 1) ids.push(await one(queue));
  };
  const began = now();
  if (way === 'one') {
    await caller(jobs);
  } else if (way === 'callers') {
    await Promise.all(Array.from({ length: CALLERS }, () => caller(Math.floor(jobs / CALLERS))));
  } else {
    for (let n = 0; n < jobs; n += BULK) ids.push(...(await bulk(queue, BULK)));
  }
  const ended = now();
  ids.forEach((id) => notes.accepted.push([id, 0]));
  return { began: Number(began), ended: Number(ended) };
}

/** Hands in each job at its time, and waits for none. Timers come late: the last of a wait is spent awake. */
async function pace({ one }, notes, { jobs, every_ns, queue }) {
  const began = now();
  const every = BigInt(every_ns);
  const offered = [];
  for (let n = 1n; n <= BigInt(jobs); n += 1n) {
    const due = began + n * every;
    for (let left = due - now(); left > 0n; left = due - now()) {
      // A turn of the loop at least, so that answers and jobs are not held up by the waiting.
      await (left > 1_500_000n ? sleep(Number(left / 1_000_000n) - 1) : new Promise(setImmediate));
    }
    offered.push(one(queue).then((id) => notes.accepted.push([id, due])));
  }
  await Promise.all(offered);
  return { began: Number(began), ended: Number(now()) };
}

/** Says that it is ready, then does what it is told until its input ends. */
async function serve(commands) {
  const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
  say({});
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { do: verb, ...order } = JSON.parse(line);
    try {
      say((await commands[verb](order)) ?? {});
    } catch (error) {
      console.error(error);
      say({ error: String(error) });
    }
  }
  process.exit(0);
}

module.exports = { Notes, PAYLOAD, enqueue, pace, serve };
