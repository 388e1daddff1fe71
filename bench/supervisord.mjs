// supervisord as the other side of the rows on log files: of all peers it is the fastest there. It comes from PyPI, into a folder of
// its own (tools/bootstrap.sh); without it these rows are left out, and said to be.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { read, until } from './sides.mjs';

const program = path.join(import.meta.dirname, '../target/tools/supervisor/bin/supervisord');

/** Starts programs as `Home` of `sides.mjs` does, as far as the rows on log files need it. */
class Home {
  constructor(dir) {
    this.dir = dir;
    this.path = path.join(dir, 'home');
    mkdirSync(this.file('logs'), { recursive: true });
  }

  file(...parts) {
    return path.join(this.path, ...parts);
  }

  /** `start SCRIPT --interpreter PROGRAM --name NAME` */
  run(verb, script, ...options) {
    const after = (option) => options[options.indexOf(option) + 1];
    if (verb !== 'start') throw new Error(`supervisord has no ${verb} here`);
    const name = after('--name');
    writeFileSync(
      this.file('supervisord.conf'),
      `[supervisord]
logfile=${this.file('supervisord.log')}
pidfile=${this.file('supervisord.pid')}

[program:${name}]
command=${after('--interpreter')} ${script}
autorestart=false
stdout_logfile=${this.file('logs', `${name}-out.log`)}
stdout_logfile_maxbytes=0
stderr_logfile=${this.file('logs', `${name}-error.log`)}
stderr_logfile_maxbytes=0
`,
    );
    execFileSync(program, ['-c', this.file('supervisord.conf')], { stdio: 'ignore' });
  }

  async end() {
    const pid = Number(read(this.file('supervisord.pid')));
    if (pid === 0) return;
    process.kill(pid, 'SIGTERM');
    await until(() => !existsSync(`/proc/${pid}`));
  }
}

/** A side for `row.measure`; stands in the column of the peer. */
export const supervisord = {
  name: 'theirs',
  there: existsSync(program),
  async home(work) {
    const dir = mkdtempSync(path.join(tmpdir(), 'phb-'));
    const home = new Home(dir);
    try {
      return await work(home);
    } finally {
      await home.end();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};
