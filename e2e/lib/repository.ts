// A Git repository with a remote, in which an app lives.
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export class Repository {
  readonly folder: string;
  private readonly elsewhere: string;

  /** Below `dir`; the app says on its output which revision of its sources it is. */
  constructor(dir: string) {
    this.folder = path.join(dir, 'repo');
    this.elsewhere = path.join(dir, 'elsewhere');
    const origin = path.join(dir, 'origin');
    mkdirSync(this.folder);
    execFileSync('git', ['init', '-q', '--bare', '-b', 'main', origin]);
    this.git(this.folder, 'init', '-q', '-b', 'main');
    this.git(this.folder, 'remote', 'add', 'origin', origin);
    writeFileSync(this.app, 'setInterval(() => {}, 1000);\n');
    this.git(this.folder, 'add', '.');
    this.git(this.folder, 'commit', '-qm', 'first');
    this.git(this.folder, 'push', '-q', 'origin', 'HEAD');
    execFileSync('git', ['clone', '-q', origin, this.elsewhere]);
  }

  get app(): string {
    return path.join(this.folder, 'app.js');
  }

  /** The revision that is checked out. */
  get head(): string {
    return this.git(this.folder, 'rev-parse', 'HEAD');
  }

  /** Somebody else pushes a commit; its revision. */
  pushFromElsewhere(message: string): string {
    appendFileSync(path.join(this.elsewhere, 'app.js'), `// ${message}\n`);
    this.git(this.elsewhere, 'commit', '-qam', message);
    this.git(this.elsewhere, 'push', '-q', 'origin', 'HEAD');
    return this.git(this.elsewhere, 'rev-parse', 'HEAD');
  }

  /** A change that nobody committed. */
  edit(text: string) {
    appendFileSync(this.app, text);
  }

  restore() {
    this.git(this.folder, 'checkout', '-q', '--', '.');
  }

  get text(): string {
    return readFileSync(this.app, 'utf8');
  }

  private git(folder: string, ...args: string[]): string {
    return execFileSync('git', ['-C', folder, '-c', 'user.name=n', '-c', 'user.email=a@b', ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  }
}
