"""The storm: hostile messages beside good ones, on running workers, and the ledger of what became of each."""
