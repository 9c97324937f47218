import process from 'node:process';

// Loaded into an agent by NODE_OPTIONS: signals become what no code of the agent's own lets happen.
process.on('SIGUSR2', () => void Promise.reject(new Error('a loose end')));
process.on('SIGHUP', () => {
  throw new Error('thrown in nowhere');
});
