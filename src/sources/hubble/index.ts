export { hubble } from './hubble.ts';
