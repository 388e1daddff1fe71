// Two programs in two languages, each with instances and reloads without a refused connection: the manager binds the sockets, and
// every process gets them as descriptors 3, 4, … with LISTEN_FDS and LISTEN_FDNAMES in its environment.
module.exports = {
  apps: [
    {
      name: 'python',
      script: 'server.py',
      instances: 2,
      sockets: [{ listen: 'tcp:127.0.0.1:8081', name: 'http' }],
      wait_ready: true, // It takes over when it says so.
      kill_timeout: 5000, // As long may the old one take to answer what it has begun.
    },
    {
      name: 'node',
      script: 'server.js',
      exec_mode: 'fork',
      instances: 2,
      sockets: ['tcp:127.0.0.1:8082', { listen: 'unix:node.sock', mode: '0660' }],
      wait_ready: true,
      kill_timeout: 5000,
    },
  ],
};
