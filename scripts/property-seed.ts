import * as fc from 'fast-check';

// In CI a failure must be about the change, and come again: property tests draw from one seed there. Everywhere
// else every run draws anew, and a failure prints its seed.
if (process.env['CI'] !== undefined) fc.configureGlobal({ seed: 20261121 });
