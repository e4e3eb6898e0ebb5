// An ordinary node service. Behind handover it takes descriptor 3; with CLUSTER=PORT it is its
// own manager: SIGHUP starts new workers and disconnects the old ones when they listen.
'use strict';
const cluster = require('node:cluster');
const http = require('node:http');
const WORKERS = 2;

function serve(where, generation) {
  const server = http.createServer((request, response) => {
    const body = `hello from generation ${generation} (pid ${process.pid})\n`;
    const answer = () => response.writeHead(200, { 'Content-Length': body.length }).end(body);
    if (request.url.startsWith('/slow')) setTimeout(answer, 300);
    else answer();
  });
  server.keepAliveTimeout = 75_000;
  server.listen(where);
  // What the documentation says: close() takes nothing new and closes idle connections.
  process.on('SIGTERM', () => server.close(() => process.exit(0)));
}

if (!process.env.CLUSTER) {
  serve({ fd: 3 }, process.env.HANDOVER_GENERATION);
} else if (cluster.isPrimary) {
  let generation = 0;
  const start = () => {
    generation += 1;
    const old = Object.values(cluster.workers);
    let listening = 0;
    for (let n = 0; n < WORKERS; n += 1) {
      cluster.fork({ GENERATION: generation }).on('listening', () => {
        listening += 1;
        if (listening === WORKERS) for (const worker of old) worker.disconnect();
      });
    }
  };
  process.on('SIGHUP', start);
  process.on('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM');
    process.exit(0);
  });
  start();
} else {
  serve({ host: '127.0.0.1', port: Number(process.env.CLUSTER) }, process.env.GENERATION);
}
