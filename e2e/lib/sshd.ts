// A real sshd on loopback, with keys and a configuration of its own.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import path from 'node:path';
import { freePort } from './port.ts';
import { until } from './until.ts';

const PROGRAM = '/usr/sbin/sshd';

/** Whether it is here, and may let this user in: only root can log somebody in. */
export const hasSshd = existsSync(PROGRAM) && process.getuid?.() === 0;

export class Sshd {
  private constructor(
    readonly port: number,
    /** The private key that opens. */
    readonly key: string,
    private readonly child: ChildProcess,
  ) {}

  /** Starts one that keeps everything in `dir`. */
  static async start(dir: string): Promise<Sshd> {
    mkdirSync(dir);
    const file = (name: string) => path.join(dir, name);
    for (const name of ['host', 'user']) {
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file(name)]);
    }
    const port = await freePort();
    writeFileSync(
      file('config'),
      `ListenAddress 127.0.0.1
Port ${port}
HostKey ${file('host')}
AuthorizedKeysFile ${file('user')}.pub
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
# The folder of a test is in a folder for everybody.
StrictModes no
UsePAM no
`,
    );
    // Where it goes before it knows who comes; made at boot otherwise.
    mkdirSync('/run/sshd', { recursive: true });
    const child = spawn(PROGRAM, ['-D', '-e', '-f', file('config'), '-E', file('log')], { stdio: 'ignore' });
    const answers = () =>
      new Promise<boolean>((resolve, reject) => {
        const socket = createConnection(port, '127.0.0.1', () => {
          socket.destroy();
          resolve(true);
        });
        socket.on('error', reject);
      });
    try {
      await until('sshd answers', answers);
    } catch (error) {
      child.kill();
      throw new Error(`${error}\n${existsSync(file('log')) ? readFileSync(file('log'), 'utf8') : ''}`);
    }
    return new Sshd(port, file('user'), child);
  }

  async end() {
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill();
    await gone;
  }
}
