export * from './gates.ts';
export * from './judge.ts';
export * from './rehearse.ts';
