import './ui/tokens.css';
import './ui/base.css';
import './ui/ui.css';
import './ui/shell.css';
import { render } from 'preact';
import { App } from './app';
import { listen } from './router';
import { begin } from './session';
import { startClock } from './store/live';

listen();
startClock();
void begin();

const root = document.getElementById('app');
if (root) render(<App />, root);
