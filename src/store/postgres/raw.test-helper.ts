import { Client } from 'pg';
import { parseAddress } from './address.ts';

/** A bare connection to the tables behind a URL, past the store. The caller ends it. */
export async function databaseOf(url: string): Promise<Client> {
  const { host, port, database, user, password, ssl, schema } = parseAddress(url);
  const client = new Client({
    host,
    port,
    database,
    user,
    password,
    ssl,
    options: `-c search_path=${schema}`,
  });
  await client.connect();
  return client;
}
