# total PRICE QUANTITY: what is to be paid, in cents.
echo $(($1 + $2))
