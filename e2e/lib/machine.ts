// A machine of its own: a Linux kernel as a program (User-Mode Linux), on the files of this machine, which it only reads. It
// has the hierarchy of cgroup v2 with all controllers, whatever this machine has.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const KERNEL = 'linux.uml';
const memory = '640M';

/** Whether there is one here: Debian has it, others may not. */
export function hasMachine(): boolean {
  try {
    execFileSync(KERNEL, ['--version'], { stdio: 'ignore' });
    return process.arch === 'x64';
  } catch {
    return false;
  }
}

/**
 * Boots, runs a Node program in it as root, and gives what that wrote into `results.json` of `dir`, a folder that both
 * see. /tmp, /run and /mnt are empty in there.
 */
// biome-ignore lint/suspicious/noExplicitAny: whatever the program found out
export async function runOnMachine(program: string, dir: string): Promise<any> {
  const init = path.join(dir, 'init.sh');
  const console = path.join(dir, 'console.log');
  writeFileSync(
    init,
    `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t hostfs -o ${dir} none /srv
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /mnt
mount -t tmpfs tmpfs /tmp
chmod 1777 /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up 2>/dev/null
export PATH=${path.dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/mnt
cd /mnt
node ${program} >/srv/program.log 2>&1
echo o >/proc/sysrq-trigger
exec sleep 1000
`,
  );
  chmodSync(init, 0o755);
  const words = [
    `mem=${memory}`,
    'rootfstype=hostfs',
    'rootflags=/',
    'ro',
    'quiet',
    `init=${init}`,
    'con=null',
    'con0=fd:0,fd:1',
    `uml_dir=${dir}/`,
  ];
  let text = '';
  const kernel: ChildProcess = spawn(KERNEL, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Its memory is a file there.
    env: { ...process.env, TMPDIR: dir },
    detached: true,
  });
  for (const stream of [kernel.stdout, kernel.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
  }
  const limit = setTimeout(() => process.kill(-Number(kernel.pid), 'SIGKILL'), 150_000);
  await new Promise((resolve) => kernel.on('close', resolve));
  clearTimeout(limit);
  writeFileSync(console, text);
  try {
    return JSON.parse(readFileSync(path.join(dir, 'results.json'), 'utf8'));
  } catch (error) {
    let said = '';
    try {
      said = readFileSync(path.join(dir, 'program.log'), 'utf8');
    } catch {
      // it was not even started
    }
    throw new Error(`the machine left no results: ${error}\n${said}\n${text.slice(-3000)}`);
  }
}
