// The second opinion on what is issued here. Its order of imports matters.
import './reflect.test-helper.ts';

export * from '@peculiar/x509';
