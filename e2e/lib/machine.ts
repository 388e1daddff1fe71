// A machine of its own: a Linux kernel as a program (User-Mode Linux), on the files of this machine, which it only reads. It
// has the hierarchy of cgroup v2 with all controllers, whatever this machine has.
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const KERNEL = 'linux.uml';
const SYSTEMD = '/lib/systemd/systemd';
const memory = '640M';
const PATH = `${path.dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;

function has(...command: string[]): boolean {
  try {
    execFileSync(String(command[0]), command.slice(1), { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Whether there is one here: Debian has it, others may not. */
export const hasMachine = () => process.arch === 'x64' && has(KERNEL, '--version');

/** Whether one can be booted by systemd here. */
export const hasSystemd = () =>
  hasMachine() && existsSync(SYSTEMD) && has('mkfs.ext4', '-V') && has('python3', '--version');

/**
 * Boots, runs a Node program in it as root, and gives what that wrote into `results.json` of `dir`, a folder that both
 * see as /srv. /tmp, /run and /mnt are empty in there.
 */
export async function runOnMachine(program: string, dir: string) {
  return boot(
    dir,
    `
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t hostfs -o ${dir} none /srv
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /mnt
mount -t tmpfs tmpfs /tmp
chmod 1777 /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up 2>/dev/null
export PATH=${PATH} HOME=/mnt
cd /mnt
node ${program} >/srv/program.log 2>&1
echo o >/proc/sysrq-trigger
exec sleep 1000
`,
  );
}

/** What of this machine's units would wait for devices, networks or people that are not there. */
const MASKED = [
  'systemd-udevd.service',
  'systemd-udev-trigger.service',
  'systemd-logind.service',
  'dbus-org.freedesktop.login1.service',
  'systemd-timesyncd.service',
  'systemd-networkd.service',
  'systemd-resolved.service',
  'systemd-binfmt.service',
  'getty.target',
];

/**
 * The same with systemd as init, which starts the program once everything else is up, and is then told to power off. What was
 * written is on a disk of that machine, in `dir`: another boot with the same `dir` finds it again.
 */
export async function bootSystemd(program: string, dir: string) {
  const disk = path.join(dir, 'disk');
  if (!existsSync(disk)) {
    execFileSync('truncate', ['-s', '512M', disk]);
    execFileSync('mkfs.ext4', ['-q', '-F', disk]);
  }
  return boot(
    dir,
    `
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
mkdir /mnt/disk /mnt/root
mount -t ext4 /dev/ubda /mnt/disk
mkdir -p /mnt/disk/files /mnt/disk/work
# Debian's kernel has overlayfs as a module, and not every machine has insmod: 313 is finit_module.
python3 -c 'import ctypes, os, sys
module = os.open("/usr/lib/uml/modules/%s/kernel/fs/overlayfs/overlay.ko" % os.uname().release, os.O_RDONLY)
sys.exit(ctypes.CDLL(None).syscall(313, module, b"", 0) != 0)'
mount -t overlay -o lowerdir=/,upperdir=/mnt/disk/files,workdir=/mnt/disk/work overlay /mnt/root
cd /mnt/root
if [ ! -e etc/systemd/system/tried.service ]; then
  rm -rf etc/systemd/system/*.wants etc/fstab
  for unit in ${MASKED.join(' ')}; do ln -sf /dev/null etc/systemd/system/$unit; done
  mkdir -p etc/systemd/system/multi-user.target.wants
  ln -s ../tried.service etc/systemd/system/multi-user.target.wants/
  cat >etc/systemd/system/tried.service <<END
[Unit]
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
Environment=PATH=${PATH} HOME=/root
ExecStart=$(command -v node || echo ${process.execPath}) ${program}
# Its disk is a file that halting does not flush: what was just written would be empty files after the next boot.
ExecStopPost=/bin/sync
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=append:/srv/program.log
StandardError=inherit
END
fi
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t hostfs -o ${dir} none srv
cd /
exec switch_root /mnt/root ${SYSTEMD} --unit=multi-user.target
`,
    [`ubda=${disk}`, 'systemd.show_status=1'],
  );
}

/** Runs a kernel with a script as its init until that has powered it off. */
// biome-ignore lint/suspicious/noExplicitAny: whatever the program found out
async function boot(dir: string, script: string, more: string[] = []): Promise<any> {
  const init = path.join(dir, 'init.sh');
  const results = path.join(dir, 'results.json');
  writeFileSync(init, `#!/bin/sh${script}`);
  chmodSync(init, 0o755);
  rmSync(results, { force: true });
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
    ...more,
  ];
  let text = '';
  const kernel = spawn(KERNEL, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Its memory is a file there.
    env: { ...process.env, TMPDIR: dir },
    detached: true,
  });
  for (const stream of [kernel.stdout, kernel.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
  }
  const limit = setTimeout(() => process.kill(-Number(kernel.pid), 'SIGKILL'), 240_000);
  await new Promise((resolve) => kernel.on('close', resolve));
  clearTimeout(limit);
  writeFileSync(path.join(dir, 'console.log'), text);
  try {
    return JSON.parse(readFileSync(results, 'utf8'));
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
