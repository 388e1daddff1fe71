// The sudden end of a host, as far as its process manager is concerned.
import type { Manager } from './manager.ts';
import { processesWith } from './scratch.ts';

/** Everything of a home is gone at once, as when the power fails: nobody is left to start anybody. */
export function powerOff(pm: Manager) {
  for (const signal of ['SIGSTOP', 'SIGKILL'] as const) {
    for (const pid of processesWith(`PM2_HOME=${pm.home}`)) {
      try {
        process.kill(pid, signal);
      } catch {
        // Gone with another.
      }
    }
  }
}
