'use strict';
// graphile-worker: `node graphile.js client|worker URL`.

const { Logger, makeWorkerUtils, run, runMigrations } = require('graphile-worker');
const { Notes, PAYLOAD, enqueue, pace, serve } = require('./protocol');

const [role, connectionString] = process.argv.slice(2);
const CONCURRENCY = 24;
const logger = new Logger(() => (level, message) => level === 'error' && console.error(message));
const notes = new Notes();

/** Each run has a task of its own name, so that nothing of one is seen by the next. */
async function client() {
  await runMigrations({ connectionString, logger });
  // As many connections as workers have, so that 64 callers do not stand in line for the default of 10.
  const utils = await makeWorkerUtils({ connectionString, logger, maxPoolSize: CONCURRENCY });
  const way = {
    one: async (queue) => (await utils.addJob(queue, PAYLOAD)).id,
    bulk: async (queue, jobs) => {
      const added = await utils.addJobs(Array.from({ length: jobs }, () => ({ identifier: queue, payload: PAYLOAD })));
      return added.map((job) => job.id);
    },
  };
  return {
    enqueue: (order) => enqueue(way, notes, order),
    pace: (order) => pace(way, notes, order),
  };
}

function worker() {
  let runner;
  return {
    work: async ({ queue }) => {
      const noOp = async (_, { job }) => notes.start(job.id);
      runner = await run({
        connectionString,
        logger,
        concurrency: CONCURRENCY,
        maxPoolSize: CONCURRENCY + 2,
        noHandleSignals: true,
        taskList: { [queue]: noOp },
      });
    },
    rest: async () => {
      await runner?.stop();
      runner = undefined;
    },
    count: () => ({ started: notes.started.length }),
  };
}

(async () => {
  const commands = role === 'client' ? await client() : worker();
  serve({ ...commands, dump: ({ file }) => notes.dump(file) });
})();
