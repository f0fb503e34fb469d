export { ByItself } from './by-itself.ts';
export { Gatekeeper } from './gatekeeper.ts';
export { noteMarks } from './marks.ts';
