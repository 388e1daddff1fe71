/**
 * The icon set: Lucide, taken one by one as data, so that only the icons named here are in the bundle, drawn by our own element.
 */

import {
  Activity,
  Box,
  Check,
  ChevronDown,
  ChevronRight,
  CircleAlert,
  CircleCheck,
  CircleHelp,
  Clock,
  Copy,
  Cpu,
  Ellipsis,
  Eye,
  EyeOff,
  FileText,
  Gauge,
  GitBranch,
  Hash,
  type IconNode,
  KeyRound,
  LoaderCircle,
  LogOut,
  MemoryStick,
  MessageSquare,
  Minus,
  Monitor,
  Moon,
  PanelLeft,
  Play,
  Plug,
  Plus,
  RefreshCw,
  RotateCcw,
  Scaling,
  Search,
  Server,
  Settings,
  Square,
  Sun,
  Table,
  Trash2,
  TriangleAlert,
  User,
  Users,
  X,
} from 'lucide';
import { h } from 'preact';

const ICONS = {
  activity: Activity,
  alert: CircleAlert,
  app: Box,
  branch: GitBranch,
  check: Check,
  clock: Clock,
  close: X,
  copy: Copy,
  cpu: Cpu,
  dark: Moon,
  dash: Minus,
  down: ChevronDown,
  gauge: Gauge,
  hash: Hash,
  help: CircleHelp,
  hide: EyeOff,
  key: KeyRound,
  light: Sun,
  logs: FileText,
  memory: MemoryStick,
  message: MessageSquare,
  more: Ellipsis,
  ok: CircleCheck,
  panel: PanelLeft,
  plug: Plug,
  plus: Plus,
  reload: RefreshCw,
  reset: Hash,
  restart: RotateCcw,
  right: ChevronRight,
  scale: Scaling,
  search: Search,
  server: Server,
  settings: Settings,
  show: Eye,
  signout: LogOut,
  start: Play,
  stop: Square,
  system: Monitor,
  table: Table,
  trash: Trash2,
  user: User,
  users: Users,
  wait: LoaderCircle,
  warn: TriangleAlert,
} as const satisfies Record<string, IconNode>;

export type IconName = keyof typeof ICONS;

/** A picture beside text: hidden from assistive technology, which reads the text. */
export function Icon({ name, spin }: { readonly name: IconName; readonly spin?: boolean }) {
  return (
    <svg class={spin ? 'icn spin' : 'icn'} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      {ICONS[name].map(([tag, attrs]) => h(tag, attrs))}
    </svg>
  );
}

export function Brand() {
  return (
    <svg
      viewBox="0 0 32 32"
      aria-hidden="true"
      focusable="false"
      fill="none"
      stroke="currentColor"
      stroke-width="2.2"
      stroke-linecap="round"
      stroke-linejoin="round"
    >
      <path d="M7 20V12.5L10 8h12l3 4.5V20" />
      <path d="M5 20h22l-2.5 5h-17z" />
      <path d="M7 14h18" />
      <path d="M16 8v6" />
    </svg>
  );
}
