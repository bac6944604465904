-- Schema version 1. A new version is a new script in migrate.go; this one never changes once released.
-- sum is the CRC-32C (Castagnoli) over table number, key and value.

-- One row per channel, rewritten by every turn of it: an integer key and one upsert is the cheapest thing SQLite can do.
create table channel (k integer primary key, v blob not null, sum integer not null) strict;

create table htlc                (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table settled             (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table rod_request         (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table rod_member          (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table rod_payer           (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table rod_payee           (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table rod_tombstone       (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table revoked             (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table peer                (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table meta                (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table invoice             (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table payment             (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table mailbox             (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table device              (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table outbox              (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table wallet              (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table channel_announcement(k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table channel_update      (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table node_announcement   (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
create table event               (k blob primary key, v blob not null, sum integer not null) strict, without rowid;
